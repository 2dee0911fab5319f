<?xml version="1.0" encoding="UTF-8"?>
<!-- urn:datendrehscheibe:wohnungsgeberbestaetigung:1, for the resident register's procedure. An owner only where the landlord is
     none: the form keeps what was typed before the role was changed. -->
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
                xmlns="urn:datendrehscheibe:wohnungsgeberbestaetigung:1"
                xmlns:e="urn:datendrehscheibe:envelope:1" exclude-result-prefixes="e">
  <xsl:import href="common:fachverfahren.xsl"/>

  <xsl:variable name="wurzel" select="'Wohnungsgeberbestaetigung'"/>
  <xsl:variable name="namensraum" select="'urn:datendrehscheibe:wohnungsgeberbestaetigung:1'"/>

  <xsl:template match="vorgang/instance">
    <Ereignis art="{art}" datum="{datum}"/>
  </xsl:template>

  <xsl:template match="eigentuemer/instance">
    <xsl:if test="not($fields/wohnungsgeber/instance/rolle = 'eigentuemer')">
      <xsl:call-template name="gruppe"/>
    </xsl:if>
  </xsl:template>

  <xsl:template match="personen/instance">
    <xsl:call-template name="gruppe"><xsl:with-param name="als" select="'Person'"/></xsl:call-template>
  </xsl:template>

  <xsl:template match="erklaerung/instance">
    <xsl:apply-templates select="bemerkung"/>
  </xsl:template>
</xsl:stylesheet>
