<?xml version="1.0" encoding="UTF-8"?>
<!-- urn:datendrehscheibe:@SERVICE@:1, for a procedure. Groups and fields come by the common stylesheet; add a template
     for what the procedure names or orders differently. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="wurzel" select="'@FORM@'"/>
  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:@SERVICE@:1'"/>
</xsl:stylesheet>
