<?xml version="1.0" encoding="UTF-8"?>
<!-- A value line by line, so that no output needs CSS for its line breaks (Outlook has none). An output says what stands
     between two lines ("umbruch") and what a line looks like ("zeile"). Line feeds of every kind end a line, empty lines at
     the end are left out. A value is halved again and again: neither a long one nor one of many lines nests deeply. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
  <xsl:template name="zeilen">
    <xsl:param name="text"/>
    <xsl:call-template name="geteilt">
      <xsl:with-param name="text" select="translate($text, '&#133;&#x2028;&#x2029;', '&#10;&#10;&#10;')"/>
    </xsl:call-template>
  </xsl:template>

  <!-- "ende": whether nothing follows, so that empty lines can be left out. -->
  <xsl:template name="geteilt">
    <xsl:param name="text"/>
    <xsl:param name="ende" select="true()"/>
    <xsl:param name="bei" select="floor(string-length($text) div 2)"/>
    <xsl:variable name="rest" select="substring($text, $bei + 1)"/>
    <xsl:choose>
      <xsl:when test="not(contains($text, '&#10;'))">
        <xsl:call-template name="ohne-cr">
          <xsl:with-param name="text" select="$text"/>
          <xsl:with-param name="ende" select="$ende"/>
        </xsl:call-template>
      </xsl:when>
      <xsl:when test="contains($rest, '&#10;')">
        <xsl:variable name="danach" select="substring-after($rest, '&#10;')"/>
        <xsl:variable name="weiter" select="not($ende) or normalize-space($danach)"/>
        <xsl:call-template name="geteilt">
          <xsl:with-param name="text" select="concat(substring($text, 1, $bei), substring-before($rest, '&#10;'))"/>
          <xsl:with-param name="ende" select="not($weiter)"/>
        </xsl:call-template>
        <xsl:if test="$weiter">
          <xsl:call-template name="umbruch"/>
          <xsl:call-template name="geteilt">
            <xsl:with-param name="text" select="$danach"/>
            <xsl:with-param name="ende" select="$ende"/>
          </xsl:call-template>
        </xsl:if>
      </xsl:when>
      <xsl:otherwise>
        <xsl:call-template name="geteilt">
          <xsl:with-param name="text" select="$text"/>
          <xsl:with-param name="ende" select="$ende"/>
          <xsl:with-param name="bei" select="floor($bei div 2)"/>
        </xsl:call-template>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <!-- A line that a line feed ended: a carriage return before that is part of the end, any other one is an end itself. -->
  <xsl:template name="ohne-cr">
    <xsl:param name="text"/>
    <xsl:param name="ende"/>
    <xsl:variable name="ohne">
      <xsl:choose>
        <xsl:when test="substring($text, string-length($text)) = '&#13;'">
          <xsl:value-of select="substring($text, 1, string-length($text) - 1)"/>
        </xsl:when>
        <xsl:otherwise><xsl:value-of select="$text"/></xsl:otherwise>
      </xsl:choose>
    </xsl:variable>
    <xsl:choose>
      <xsl:when test="contains($ohne, '&#13;')">
        <xsl:call-template name="geteilt">
          <xsl:with-param name="text" select="translate($ohne, '&#13;', '&#10;')"/>
          <xsl:with-param name="ende" select="$ende"/>
        </xsl:call-template>
      </xsl:when>
      <xsl:otherwise>
        <xsl:call-template name="zeile"><xsl:with-param name="text" select="string($ohne)"/></xsl:call-template>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>

  <xsl:template name="umbruch"><xsl:text>&#10;</xsl:text></xsl:template>

  <xsl:template name="zeile">
    <xsl:param name="text"/>
    <xsl:value-of select="$text"/>
  </xsl:template>
</xsl:stylesheet>
