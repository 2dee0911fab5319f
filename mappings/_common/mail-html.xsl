<?xml version="1.0" encoding="UTF-8"?>
<!-- The application as the HTML body of a mail. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="html.xsl"/>
</xsl:stylesheet>
